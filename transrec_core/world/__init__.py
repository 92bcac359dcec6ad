"""The embedded worlds, the general stage of their encoders, and the encoders that a specification can
name.
"""
