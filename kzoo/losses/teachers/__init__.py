"""Losses that hold a student to a teacher, a moving one or an old one."""
