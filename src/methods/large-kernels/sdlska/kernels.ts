/** The kernels that stand for one of a nominal extent: a small one, and strips whose taps are a distance apart. */
export const KERNELS = {
  7: { small: 3, strip: 3, dilation: 2 },
  11: { small: 3, strip: 5, dilation: 2 },
  23: { small: 5, strip: 7, dilation: 3 },
  35: { small: 5, strip: 11, dilation: 3 },
} as const;

export type NominalKernel = keyof typeof KERNELS;

/** The branches of the kernel selection, in its order. */
export const BRANCHES = ['small', 'big_h', 'big_v'] as const;

const STATISTICS = ['weight', 'bias', 'running_mean', 'running_var'];

/** The parameters of a squeeze or an expansion: a product, a 3 × 3 convolution of each channel, batch normalisation. */
const stage = (name: string, from: string, to: string) => ({
  [`FS_kernel.${name}.0.pwconv.weight`]: `${to} ${from} 1 1`,
  [`FS_kernel.${name}.0.pwconv.bias`]: to,
  [`FS_kernel.${name}.1.dwconv.weight`]: `${to} 1 3 3`,
  [`FS_kernel.${name}.1.dwconv.bias`]: to,
  ...Object.fromEntries(STATISTICS.map((each) => [`FS_kernel.${name}.2.${each}`, to])),
});

/** Inputs by their names in the authors' checkpoints; channels c, small kernel p, strips of t taps, hidden channels r. */
export const INPUTS: Readonly<Record<string, string>> = {
  x: 'b c rows columns',
  'DW_conv.dwconv.weight': 'c 1 p p',
  'DW_conv.dwconv.bias': 'c',
  'DW_D_conv_h.dwconv.weight': 'c 1 1 t',
  'DW_D_conv_h.dwconv.bias': 'c',
  'DW_D_conv_v.dwconv.weight': 'c 1 t 1',
  'DW_D_conv_v.dwconv.bias': 'c',
  'pwconv.pwconv.weight': 'c c 1 1',
  'pwconv.pwconv.bias': 'c',
  ...stage('fc_reduce', 'c', 'r'),
  ...Object.assign({}, ...BRANCHES.map((branch) => stage(`fc_expand_${branch}`, 'r', 'c'))),
  'FS_kernel.conv_squeeze.weight': '3 2 7 7',
  'FS_kernel.conv_squeeze.bias': '3',
};
