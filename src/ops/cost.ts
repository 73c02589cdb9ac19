/** What calls of declared ops cost at least. */
import { bytesPerElement, type DType } from '../tensor/dtype';
import { axesOf, type Extents, sizeOf } from '../tensor/shape';
import type { Setting, TensorSpec } from './define';

/** What the declarations of ops and of functions made of ops have in common. */
export interface Costed {
  readonly name: string;
  readonly inputs: Readonly<Record<string, TensorSpec | Setting>>;
  readonly results?: Readonly<Record<string, TensorSpec>>;
  readonly operations?: string;
}

/** The tensors that a call must be given, by name. */
export const tensorInputs = ({ inputs }: Costed): readonly (readonly [name: string, spec: TensorSpec])[] =>
  Object.entries(inputs).filter((entry): entry is [string, TensorSpec] => 'axes' in entry[1]);

/** The results that it gives whatever its options. */
export const usualResults = ({ results = {} }: Costed): readonly (readonly [name: string, spec: TensorSpec])[] =>
  Object.entries(results).filter(([, { when }]) => when === undefined);

/** The shape that axes have; leading ones are a single axis. */
export const shapeFrom = ({ axes }: TensorSpec, extents: Extents): number[] =>
  axesOf(axes).map((letter) => extentOf(letter, extents));

/** Arithmetic operations of a call, and bytes of its tensors, each counted once, in their first element types. */
export function costOf(declaration: Costed, extents: Extents): { readonly operations: number; readonly bytes: number } {
  const { operations = '0' } = declaration;
  const tensors = [...tensorInputs(declaration), ...usualResults(declaration)].map(([, spec]) => spec);
  return {
    operations: operations
      .split(' + ')
      .map((term) => sizeOf(axesOf(term).map((factor) => extentOf(factor, extents))))
      .reduce((sum, term) => sum + term, 0),
    bytes: tensors.reduce((sum, spec) => sum + sizeOf(shapeFrom(spec, extents)) * bytesOf(spec.dtypes[0]), 0),
  };
}

const bytesOf = (dtype: DType | undefined) => bytesPerElement(dtype ?? 'f32');

function extentOf(letter: string, extents: Extents): number {
  const extent = extents[letter] ?? Number(letter);
  if (Number.isNaN(extent)) throw new Error(`no extent of '${letter}'`);
  return extent;
}
