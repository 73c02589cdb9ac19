/** Clouds of points and meshes: files, shapes that a seed makes, defects, pictures. */
export type { Geometry } from './geometry';
export { isCloudFile, readGeometry } from './read';
export { type Surface, sampleMesh } from './sample';
export { SHAPES } from './shapes';
export { drawCloud, writePly } from './write';
