"""Random valid problems, each by two ways: own doors give the same bits, SimpleITK and ANTs too.

``problems.py`` makes a problem. Three modules take it two ways each: ``doors.py`` through the doors
of n4ax, ``simpleitk.py`` through SimpleITK and ``ants.py`` through ANTs, which run here. A
function ``compare`` of theirs gives the findings and what was measured; the fuzzer calls it, and
``campaign.py`` calls it ten thousand times.
"""
