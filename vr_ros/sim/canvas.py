"""The GL side of the simulated camera: one context per thread that draws any number of scenes.

Compiling a model and creating a GL context for every scene costs far more than drawing it. So the
context is made once from a model that holds only the meshes and textures, and each scene is a list
of geoms given to MuJoCo's renderer.
"""
from __future__ import annotations

import os
import threading
from collections.abc import Iterable
from dataclasses import dataclass

import cv2
import mujoco
import numpy as np
from scipy.spatial.transform import Rotation

from vr_ros.core.types import Size
from vr_ros.sim.cameras import CameraPose
from vr_ros.sim.objects import MESHES, Part
from vr_ros.sim.scene import LightSpec
from vr_ros.sim.textures import SIDE_PX, TEXTURES, texture_pixels

NEAR_M, FAR_M = 0.15, 6.0
MAX_GEOMS = 400
# Group of pixels that show no object: not even table or floor.
NOTHING = 255
TEXTURE_REPEAT = 2.0
SHADOW_MAP_PX = 768
# The shadow map spans this much around the table's centre; a tighter map has finer shadows.
SHADOW_HALF_WIDTH_M = 0.7
# Multi-sampling would triple the cost of a picture on a CPU; the lens blur hides jagged edges.
SAMPLES = 0
LENS_BLUR_PX = 0.6
_SHAPES = {
    'box': mujoco.mjtGeom.mjGEOM_BOX,
    'sphere': mujoco.mjtGeom.mjGEOM_SPHERE,
    'cylinder': mujoco.mjtGeom.mjGEOM_CYLINDER,
    'capsule': mujoco.mjtGeom.mjGEOM_CAPSULE,
}
_LOCAL = threading.local()
# Ids of processes that have drawn: this one, or also its parent if it was forked too late.
_PROCESSES: set[int] = set()
# Every canvas stays until the process ends: freeing one deletes GL objects by number in whatever
# context is current, which may be another thread's.
_KEPT: list[Canvas] = []


@dataclass(frozen=True)
class DrawnObject:
    """One object as it is drawn.

    :param group: number from 0 to 253 that the object's pixels carry in :meth:`Canvas.draw_ids`.
    :param position: of the object's frame in the world, metres.
    :param rotation: (3, 3) from the object's frame to the world.
    :param rgb: 0..1.
    :param texture: name of a pattern, or '' for none.
    """

    group: int
    parts: tuple[Part, ...]
    position: np.ndarray
    rotation: np.ndarray
    rgb: tuple[float, float, float]
    shininess: float = 0.5
    texture: str = ''


def shared_canvas() -> Canvas:
    """Get this thread's canvas, made on first use: a GL context belongs to a single thread.

    :raises RuntimeError: in a process forked from one that has already drawn, where GL would hang.
    """
    if _PROCESSES and os.getpid() not in _PROCESSES:
        raise RuntimeError('this process was forked after its parent had drawn: use spawn instead')
    _PROCESSES.add(os.getpid())
    if not hasattr(_LOCAL, 'canvas'):
        _LOCAL.canvas = Canvas()
        _KEPT.append(_LOCAL.canvas)
    return _LOCAL.canvas


class Canvas:
    """Draws lists of objects. Use :func:`shared_canvas`.

    :raises RuntimeError: when no off-screen GL is available.
    """

    def __init__(self) -> None:
        self._capacity = Size(640, 480)
        self._gl = _gl_context(self._capacity)
        self._model = _asset_model(self._capacity)
        self._context = mujoco.MjrContext(self._model, mujoco.mjtFontScale.mjFONTSCALE_50)
        mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN, self._context)
        self._context.readDepthMap = mujoco.mjtDepthMap.mjDEPTH_ZEROFAR
        self._scene, self._solo = (mujoco.MjvScene(self._model, MAX_GEOMS) for _ in range(2))
        for scene in (self._scene, self._solo):
            scene.flags[:] = 0
            scene.flags[mujoco.mjtRndFlag.mjRND_CULL_FACE] = 1
        self._objects: dict[int, DrawnObject] = {}

    def set_scene(self, objects: Iterable[DrawnObject], lights: Iterable[LightSpec]) -> None:
        """Replace everything that is drawn."""
        self._objects = {item.group: item for item in objects}
        self._fill(self._scene, self._objects.values())
        self._scene.nlight = 0
        for spec in lights:
            light = self._scene.lights[self._scene.nlight]
            self._scene.nlight += 1
            light.type = mujoco.mjtLightType.mjLIGHT_DIRECTIONAL
            light.headlight, light.castshadow = 0, int(spec.casts_shadow)
            light.dir = np.array(spec.direction, np.float32)
            light.pos = -1.5 * light.dir
            light.attenuation = (1.0, 0.0, 0.0)
            light.cutoff, light.exponent, light.texid = 180.0, 0.0, -1
            light.ambient, light.diffuse, light.specular = spec.ambient, spec.diffuse, spec.specular

    def draw_rgb(self, pose: CameraPose, size: Size) -> np.ndarray:
        """Draw the colour image: (H, W, 3) uint8."""
        viewport = self._render(self._scene, pose, size, (0, 0, size.width, size.height), False)
        rgb = np.empty((size.height, size.width, 3), np.uint8)
        mujoco.mjr_readPixels(rgb, None, viewport, self._context)
        return cv2.GaussianBlur(rgb[::-1], (3, 3), LENS_BLUR_PX)

    def draw_ids(self, pose: CameraPose, size: Size) -> tuple[np.ndarray, np.ndarray]:
        """Draw which object each pixel shows and how far it is.

        :return: (H, W) uint8 group, NOTHING where nothing is, and (H, W) float32 depth along the
            optical axis in metres, 0 where nothing is.
        """
        viewport = self._render(self._scene, pose, size, (0, 0, size.width, size.height), True)
        rgb = np.empty((size.height, size.width, 3), np.uint8)
        reverse_z = np.empty((size.height, size.width), np.float32)
        mujoco.mjr_readPixels(rgb, reverse_z, viewport, self._context)
        groups = rgb[::-1, :, 0] - np.uint8(1)
        # Inverse of the reversed-z perspective projection: 1 at the near plane, 0 at the far plane.
        depth = np.float32(NEAR_M * FAR_M) / (NEAR_M + reverse_z[::-1] * np.float32(FAR_M - NEAR_M))
        depth[groups == NOTHING] = 0.0
        return groups, depth

    def alone_area(
        self, group: int, pose: CameraPose, size: Size, crop: tuple[int, int, int, int]
    ) -> int:
        """Count the pixels that an object would cover if nothing hid it and the image did not end.

        :param crop: x_min, y_min, x_max, y_max in pixels around the whole object; it may reach
            beyond the image.
        """
        self._fill(self._solo, (self._objects[group],))
        viewport = self._render(self._solo, pose, size, crop, True)
        rgb = np.empty((viewport.height, viewport.width, 3), np.uint8)
        mujoco.mjr_readPixels(rgb, None, viewport, self._context)
        return int(np.count_nonzero(rgb[..., 0]))

    def _render(
        self, scene: mujoco.MjvScene, pose: CameraPose, size: Size,
        crop: tuple[int, int, int, int], identity: bool,
    ) -> mujoco.MjrRect:
        """Draw the crop of the image into the lower left corner of the buffer."""
        viewport = mujoco.MjrRect(0, 0, crop[2] - crop[0], crop[3] - crop[1])
        self._gl.make_current()
        if viewport.width > self._capacity.width or viewport.height > self._capacity.height:
            self._capacity = Size(max(viewport.width, self._capacity.width),
                                  max(viewport.height, self._capacity.height))
            mujoco.mjr_resizeOffscreen(
                self._capacity.width, self._capacity.height, self._context)
        _aim(scene, pose, size, crop)
        scene.flags[mujoco.mjtRndFlag.mjRND_SEGMENT] = identity
        scene.flags[mujoco.mjtRndFlag.mjRND_IDCOLOR] = identity
        scene.flags[mujoco.mjtRndFlag.mjRND_SHADOW] = not identity
        mujoco.mjr_render(viewport, scene, self._context)
        return viewport

    def _fill(self, scene: mujoco.MjvScene, objects: Iterable[DrawnObject]) -> None:
        scene.ngeom = 0
        for item in objects:
            for part in item.parts:
                geom = scene.geoms[scene.ngeom]
                scene.ngeom += 1
                self._init_geom(geom, item, part)

    def _init_geom(self, geom: mujoco.MjvGeom, item: DrawnObject, part: Part) -> None:
        position = item.position + item.rotation @ np.array(part.position)
        matrix = item.rotation @ part.rotation
        rgba = np.array([*(channel * part.shade for channel in item.rgb), 1.0], np.float32)
        size = np.array(part.size)
        shape = _SHAPES.get(part.shape, mujoco.mjtGeom.mjGEOM_MESH)
        if part.shape in MESHES:
            # The compiler moves a mesh into its inertial frame: undo that, then scale it.
            mesh = list(MESHES).index(part.shape)
            scaled = matrix * size
            position = position + scaled @ self._model.mesh_pos[mesh]
            w, x, y, z = self._model.mesh_quat[mesh]
            matrix = scaled @ Rotation.from_quat((x, y, z, w)).as_matrix()
            size = np.ones(3)
        mujoco.mjv_initGeom(geom, shape, size, position, matrix.ravel(), rgba)
        if part.shape in MESHES:
            # Display lists come in pairs: the mesh itself, then its convex hull.
            geom.dataid = 2 * mesh
        geom.matid = TEXTURES.index(item.texture) if item.texture else -1
        geom.segid = item.group
        geom.category = mujoco.mjtCatBit.mjCAT_DYNAMIC
        geom.shininess, geom.specular = item.shininess, 0.8 * item.shininess


def _gl_context(size: Size) -> mujoco.GLContext:
    """Make a context current: EGL, unless MUJOCO_GL names another way.

    MuJoCo itself reads that variable only when it is first imported, which may be long before.
    """
    try:
        if os.environ.get('MUJOCO_GL', 'egl').lower() == 'egl':
            from mujoco.egl import GLContext
        else:
            GLContext = mujoco.GLContext
        context = GLContext(size.width, size.height)
        context.make_current()
    except Exception as error:  # the backends raise whatever their bindings raise
        raise RuntimeError(
            f'no off-screen rendering: install libegl1 and libgl1-mesa-dri ({error})') from error
    return context


def _aim(
    scene: mujoco.MjvScene, pose: CameraPose, size: Size, crop: tuple[int, int, int, int]
) -> None:
    """Set an off-axis frustum that sees exactly the crop."""
    x_min, y_min, x_max, y_max = crop
    per_pixel = 2 * NEAR_M * np.tan(pose.fovy_rad / 2) / size.height
    rotation = pose.rotation
    for camera in scene.camera:
        camera.pos = np.array(pose.position, np.float32)
        camera.forward = rotation[:, 2].astype(np.float32)
        camera.up = -rotation[:, 1].astype(np.float32)
        camera.frustum_near, camera.frustum_far = NEAR_M, FAR_M
        camera.frustum_center = ((x_min + x_max) / 2 - size.width / 2) * per_pixel
        # Half of the width, although its name does not say so.
        camera.frustum_width = (x_max - x_min) / 2 * per_pixel
        camera.frustum_top = (size.height / 2 - y_min) * per_pixel
        camera.frustum_bottom = (size.height / 2 - y_max) * per_pixel


def _asset_model(size: Size) -> mujoco.MjModel:
    """Compile a model of all meshes and materials, in the order of MESHES and TEXTURES."""
    spec = mujoco.MjSpec()
    spec.visual.global_.offwidth, spec.visual.global_.offheight = size.width, size.height
    spec.visual.quality.offsamples = SAMPLES
    spec.visual.quality.shadowsize = SHADOW_MAP_PX
    # Extent of what can cast or catch shadows, in metres.
    spec.stat.extent, spec.stat.center = 1.0, (0.0, 0.0, 0.0)
    spec.visual.map.shadowclip = SHADOW_HALF_WIDTH_M
    for name, make in MESHES.items():
        mesh = make()
        spec.add_mesh(
            name=name, uservert=mesh.vertices.ravel(), userface=mesh.faces.ravel(),
            usernormal=mesh.normals.ravel(), userfacenormal=mesh.faces.ravel(),
            inertia=mujoco.mjtMeshInertia.mjMESH_INERTIA_SHELL,
        )
    for name in TEXTURES:
        pixels = np.repeat(texture_pixels(name)[..., None], 3, 2)
        texture = spec.add_texture(name=name, type=mujoco.mjtTexture.mjTEXTURE_2D, nchannel=3,
                                   width=SIDE_PX, height=SIDE_PX)
        texture.data = pixels.tobytes()
        material = spec.add_material(
            name=name, texuniform=True, texrepeat=(TEXTURE_REPEAT, TEXTURE_REPEAT))
        material.textures[mujoco.mjtTextureRole.mjTEXROLE_RGB] = name
    return spec.compile()
