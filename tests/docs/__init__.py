"""What holds the pages to the program: their commands run, their links lead somewhere, the site builds."""
