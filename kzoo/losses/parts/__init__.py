"""What losses share: the kernel over blocks of pairs, temperatures, queues, mixing."""
