"""Pictures and files of meshes: hard z-buffer, overlays, GLB/OBJ/PLY export."""
