"""Training that can be interrupted at any moment and goes on as if it had not been."""
