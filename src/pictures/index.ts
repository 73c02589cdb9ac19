/** Pictures in files as what networks take, and the names of their classes. */
export { decodePicture } from './decode';
export { CITYSCAPES, imageNetNames } from './names';
export type { Picture } from './picture';
export { type PictureSettings, preprocess } from './preprocess';
export type { Interpolation } from './resize';
