"""The console page: API Management for people. Static files, a session by cookie, two ways to sign in.

It adds no right: what the page does, it does through `/v1` with the token of the person who signed in.
"""
