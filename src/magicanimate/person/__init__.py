"""The person in a picture or video: networks that find people, their landmarks and their masks.

Shape legend: H W pixels, N people, K landmarks (33).
"""
