"""playspot.training"""
