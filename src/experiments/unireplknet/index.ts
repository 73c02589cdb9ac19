/** A block of dilated kernels beside the one that it is merged into. */
import { dilatedReparamConv } from '../../methods/large-kernels/dilated-reparam-conv';
import { hostTensor, toFloat64 } from '../../tensor/host';
import { normal } from '../../tensor/random';
import { sizeOf } from '../../tensor/shape';
import { significant } from '../../text/format';
import { defineExperiment, figure, type MeasureContext } from '../experiment';

const BRANCHES = ['5_1', '7_2', '3_3', '3_4', '3_5'];
const EXTENTS: Readonly<Record<string, number>> = { b: 1, c: 4, rows: 19, columns: 21, k: 13 };

export const experiment = defineExperiment({
  title: 'the merged kernel beside its branches, and what both cost',
  claims: {
    merged: {
      claim: 'After training the dilated kernels fold into the large one, and the result stays the same.',
      source: 'equation 1',
      criteria: { error: figure('largest error over the largest result', [0, 1e-5], [0, 10]) },
      byConstruction: true,
    },
    taps: {
      claim: 'In training, five branches add 101 taps a channel to the 169 of a 13 × 13 kernel; merged they add none.',
      source: "the authors' code: follows from the kernels",
      criteria: { share: figure('taps merged over taps of all branches', [169 / 270, 169 / 270], [0, 1]) },
      byConstruction: true,
    },
  },
  measure: { merged, taps },
});

async function merged({ runtime, step }: MeasureContext) {
  await step(0.3, 'merged kernel');
  const optional = Object.entries(dilatedReparamConv.optional as Readonly<Record<string, string>>);
  const specs = [
    ...Object.entries(dilatedReparamConv.inputs),
    ...optional.filter(([name]) => BRANCHES.some((branch) => name.includes(`k${branch}.`))),
  ];
  const host = Object.fromEntries(
    specs.map(([name, spec], at) => {
      const shape = spec.split(' ').map((letter) => EXTENTS[letter] ?? Number(letter));
      const numbers = normal(sizeOf(shape), at + 1);
      return [name, hostTensor(name.endsWith('running_var') ? numbers.map((x) => x * x + 0.5) : numbers, shape, 'f32')];
    }),
  );
  const expected = toFloat64(dilatedReparamConv.reference(host, { kernel: 13 }).out as never);
  const out = runtime.scope(() => {
    const inputs = Object.fromEntries(Object.entries(host).map(([name, each]) => [name, runtime.fromHost(each)]));
    return dilatedReparamConv.forward(inputs as never, { kernel: 13 }).out;
  });
  const found = await out.read();
  out.dispose();
  let [error, largest] = [0, 0];
  for (const [at, value] of expected.entries()) {
    error = Math.max(error, Math.abs(value - (found[at] as number)));
    largest = Math.max(largest, Math.abs(value));
  }
  return {
    measured: `off by ${significant(error / largest)} of the largest`,
    values: { error: error / largest },
    details:
      'Six convolutions and normalisations in float64 beside one convolution in float32, with random statistics.',
  };
}

function taps() {
  const branches = BRANCHES.map((name) => Number(name[0]) ** 2).reduce((sum, each) => sum + each, 0);
  const value = 13 ** 2 / (13 ** 2 + branches);
  return { measured: `${branches} beside 169`, values: { share: value } };
}
