"""Transforms and analyses of graphs: functions from Graph to Graph, and from Graph to Report."""
