"""Homes that do not exist, but behave: every appliance is a deterministic function of the home's name and the time.

So any past minute can be computed again and agrees with what was sent, however often the agent was restarted.
"""
