"""The program: started, asked, and read; which versions there are, and what they know."""
