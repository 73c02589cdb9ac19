/** What the classes of public data sets are called. */

/** The 1000 classes of ImageNet-1K by their indices, loaded when this is called. */
export const imageNetNames = async (): Promise<readonly string[]> => (await import('./imagenet.json')).default;

/** The 19 classes that Cityscapes is evaluated on, by their indices, with the colours in which they are shown. */
export const CITYSCAPES: readonly (readonly [name: string, colour: readonly [number, number, number]])[] = [
  ['road', [128, 64, 128]],
  ['sidewalk', [244, 35, 232]],
  ['building', [70, 70, 70]],
  ['wall', [102, 102, 156]],
  ['fence', [190, 153, 153]],
  ['pole', [153, 153, 153]],
  ['traffic light', [250, 170, 30]],
  ['traffic sign', [220, 220, 0]],
  ['vegetation', [107, 142, 35]],
  ['terrain', [152, 251, 152]],
  ['sky', [70, 130, 180]],
  ['person', [220, 20, 60]],
  ['rider', [255, 0, 0]],
  ['car', [0, 0, 142]],
  ['truck', [0, 0, 70]],
  ['bus', [0, 60, 100]],
  ['train', [0, 80, 100]],
  ['motorcycle', [0, 0, 230]],
  ['bicycle', [119, 11, 32]],
];
