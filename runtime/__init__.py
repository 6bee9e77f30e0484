"""What runs inside the image: Clipper's RPC and the containers that speak it.

Plain Python 3.9+ with pyzmq, numpy, cloudpickle and prometheus-client; imports nothing of
imagesmith. Inside an image this folder is /container/imagesmith/runtime.
"""
