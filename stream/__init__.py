"""playspot.stream"""
