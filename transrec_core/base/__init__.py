"""What every room needs: errors, configurations, files written in one step, processes. Nothing here
imports torch.
"""
