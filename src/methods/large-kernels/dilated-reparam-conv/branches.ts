/** The dilated kernels beside a large one, as the authors chose them. */

export interface Branch {
  readonly taps: number;
  readonly dilation: number;
}

const branches = (taps: readonly number[], dilations: readonly number[]): readonly Branch[] =>
  taps.map((each, at) => ({ taps: each, dilation: dilations[at] as number }));

export const BRANCHES = {
  5: branches([3, 3], [1, 2]),
  7: branches([5, 3, 3], [1, 2, 3]),
  9: branches([5, 5, 3, 3], [1, 2, 3, 4]),
  11: branches([5, 5, 3, 3, 3], [1, 2, 3, 4, 5]),
  13: branches([5, 7, 3, 3, 3], [1, 2, 3, 4, 5]),
  15: branches([5, 7, 3, 3, 3], [1, 2, 3, 5, 7]),
  17: branches([5, 9, 3, 3, 3], [1, 2, 4, 5, 7]),
} as const;

export type LargeKernel = keyof typeof BRANCHES;

/** The names of a branch's kernel and of its batch normalisation in checkpoints. */
export const namesOf = ({ taps, dilation }: Branch) => ({
  conv: `dil_conv_k${taps}_${dilation}`,
  norm: `dil_bn_k${taps}_${dilation}`,
});

const norm = (name: string): Record<string, string> =>
  Object.fromEntries(['weight', 'bias', 'running_mean', 'running_var'].map((each) => [`${name}.${each}`, 'c']));

export const INPUTS: Readonly<Record<string, string>> = {
  x: 'b c rows columns',
  'lk_origin.weight': 'c 1 k k',
  ...norm('origin_bn'),
};

/** Those of the branches of all kernels. */
export const OPTIONAL: Readonly<Record<string, string>> = Object.assign(
  {},
  ...Object.values(BRANCHES)
    .flat()
    .map((branch) => {
      const { conv, norm: name } = namesOf(branch);
      return { [`${conv}.weight`]: `c 1 ${branch.taps} ${branch.taps}`, ...norm(name) };
    }),
);
