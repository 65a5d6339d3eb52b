"""Would this study find a bias that is there, and not find one that is not?"""
