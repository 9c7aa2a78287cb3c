#!/bin/sh
# Stands for a server that starts and never says where it listens.
echo hello >&2
exec sleep 600
