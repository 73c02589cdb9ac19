/** Weights rounded to blocks of 8 or 4 bits, tensor by tensor. */
import { checkArray, checkChoice, checkOptions, labelled, show } from '../check';
import { ParameterError } from '../errors';
import { quote } from '../io/bytes';
import { isFloat } from '../tensor/dtype';
import { type Shape, sizeOf } from '../tensor/shape';
import { decodeBlocks } from './blocks';
import { type Blocks, isBlockType, ownType, readable, storedBytes } from './elements';
import { type EncodedType, encodeBlocks } from './encode-blocks';
import { partsOf } from './parts';
import { isSelected } from './select';
import type { ReadOptions } from './source';
import type { StoredTensor, StoredType } from './stored';
import { Weights } from './weights';
import { type WritableTensor, type WriteWeightsOptions, writeWeights } from './write';

export interface QuantizeOptions extends Omit<WriteWeightsOptions, 'config'> {
  /** 8 bits (`q8_0`: 8.5 bits a number), or 4 (`q4_k`, 4.5 bits; `q4_1`, 5 bits, where rows do not divide by 256). */
  readonly type: 'q8' | 'q4';
  /** Names that stay as they are, by prefix or glob as in `Weights.select`; default: none. */
  readonly keep?: readonly string[] | undefined;
}

/** What became of a tensor. */
export interface QuantizedTensor {
  readonly name: string;
  readonly shape: Shape;
  readonly from: StoredType;
  readonly to: StoredType;
  /** In bytes, as the new file has it. */
  readonly byteLength: number;
  /** The root of the mean squared error over that of the mean squared number; 0 where it stayed as it was. */
  readonly error: number;
}

/**
 * Writes weights to a folder as `writeWeights` does (Node), matrices and kernels of convolutions whose rows divide into blocks
 * rounded to 8 or 4 bits, all other tensors as they are, with the configuration. A part of one tensor is in memory as f32, and its blocks.
 *
 * @throws {ParameterError} a matrix with numbers that are infinite or not a number, by its name
 * @throws {ParseError} a tensor of a type that is not read, before anything is written
 */
export async function quantizeWeights(
  weights: Weights,
  folder: string,
  options: QuantizeOptions,
): Promise<QuantizedTensor[]> {
  if (!(weights instanceof Weights)) throw new ParameterError(`weights must be Weights, got ${show(weights)}`);
  checkOptions('quantizeWeights', options, ['type', 'keep', 'metadata', 'shardBytes', 'signal', 'onProgress']);
  const { type, keep = [], ...writing } = options;
  const { signal } = writing;
  if (type === undefined) throw new ParameterError('type must be one of q8, q4, got undefined');
  checkChoice('type', type, ['q8', 'q4']);
  checkArray('keep', keep);
  for (const pattern of keep)
    if (typeof pattern !== 'string') throw new ParameterError(`keep must be patterns of names, got ${show(pattern)}`);
  const isKept = (name: string) => keep.some((pattern) => isSelected(name, pattern));
  const report: QuantizedTensor[] = [];
  const tensors = [...weights.tensors.values()].map(readable).map((tensor): [string, WritableTensor] => {
    const { name, shape } = tensor;
    const from = ownType(tensor);
    const to = isKept(name) ? from : roundedType(from, shape, type);
    const done = (error: number) => report.push({ name, shape, from, to, byteLength: storedBytes(to, shape), error });
    const read = async () => {
      if (to !== from) {
        const { blocks, error } = await rounded(weights, tensor, to as EncodedType, { signal });
        done(error);
        return blocks;
      }
      done(0);
      return isBlockType(from) ? weights.readBlocks(name, { signal }) : weights.read(name, { signal });
    };
    return [name, { type: to, shape, read }];
  });
  await writeWeights(folder, Object.fromEntries(tensors), { ...writing, config: weights.config });
  return report;
}

/** The type that a tensor gets: matrices of floats, and kernels of convolutions, are rounded where their rows divide into blocks. */
function roundedType(type: StoredType, shape: Shape, to: QuantizeOptions['type']): StoredType {
  const row = sizeOf(shape.slice(1));
  if (isBlockType(type) || !isFloat(type) || shape.length < 2 || row === 0 || row % 32 !== 0) return type;
  if (to === 'q8') return 'q8_0';
  return row % 256 === 0 ? 'q4_k' : 'q4_1';
}

async function rounded(
  weights: Weights,
  tensor: StoredTensor,
  type: EncodedType,
  { signal }: ReadOptions,
): Promise<{ blocks: Blocks; error: number }> {
  const { name, shape } = tensor;
  const bytes = new Uint8Array(storedBytes(type, shape));
  let [at, squares, errors] = [0, 0, 0];
  for await (const { data } of partsOf(weights, tensor, { signal })) {
    const part = encoded(`${weights.name}: tensor ${quote(name)}`, type, data);
    bytes.set(part, at);
    at += part.length;
    const back = decodeBlocks(type, part);
    for (let i = 0; i < data.length; i++) {
      const value = data[i] as number;
      squares += value * value;
      errors += (value - (back[i] as number)) ** 2;
    }
  }
  return { blocks: { type, shape, bytes }, error: squares === 0 ? 0 : Math.sqrt(errors / squares) };
}

function encoded(label: string, type: EncodedType, data: Float32Array): Uint8Array {
  try {
    return encodeBlocks(type, data);
  } catch (error) {
    throw labelled(label, error);
  }
}
