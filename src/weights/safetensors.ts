/**
 * Safetensors by ranges: names, types and places from the header, which is all that is read. The format has no quantised
 * types: blocks are stored as bytes, u8 `[..., bytes of a row]`, and `__metadata__` has their types and extents as JSON by
 * name, under `saccade.blocks`.
 */
import { isRecord, labelled, show } from '../check';
import { ParseError } from '../errors';
import { checkFileShape, quote } from '../io/bytes';
import { parseSafetensorsHeader, safetensorsHeaderEnd } from '../io/safetensors';
import { formatShape, type Shape, sameShape } from '../tensor/shape';
import { BLOCKS } from './blocks';
import { blockShape, isBlockType } from './elements';
import type { ByteSource } from './source';
import type { BlockType, ReaderOptions, StoredTensor, WeightFile } from './stored';

/** The place of types and extents in the metadata of a file. */
const BLOCK_TYPES = 'saccade.blocks';

/** What a `.safetensors` file says of itself. */
export async function readSafetensorsHeader(source: ByteSource, options: ReaderOptions = {}): Promise<WeightFile> {
  const first = await source.read(0, Math.min(8, source.size), options);
  try {
    const start = safetensorsHeaderEnd(first, source.size);
    const header = await source.read(8, start, options);
    const { entries, metadata: texts } = parseSafetensorsHeader(header, source.size - start);
    const { [BLOCK_TYPES]: blocks, ...metadata } = texts;
    const tensors = entries.map(({ name, dtype, shape, begin, end }): [string, StoredTensor] => [
      name,
      { name, type: dtype, shape, source, start: start + begin, byteLength: end - begin },
    ]);
    return { format: 'safetensors', tensors: withBlocks(new Map(tensors), blocks), metadata };
  } catch (error) {
    throw labelled(source.name, error);
  }
}

/** Tensors of bytes become the quantised tensors that the metadata says they are. */
function withBlocks(tensors: Map<string, StoredTensor>, blocks: string | undefined): Map<string, StoredTensor> {
  if (blocks === undefined) return tensors;
  for (const [name, said] of Object.entries(parsed(blocks))) {
    const label = `safetensors: ${BLOCK_TYPES} of tensor ${quote(name)}`;
    const tensor = tensors.get(name);
    if (!tensor) throw new ParseError(`${label}: there is no such tensor`);
    const { type, shape } = isRecord(said) ? said : {};
    if (typeof type !== 'string' || !isBlockType(type))
      throw new ParseError(`${label} must have one of the types ${Object.keys(BLOCKS).join(', ')}, got ${show(type)}`);
    checkFileShape(label, shape as Shape);
    const bytes = blockShape(label, type, shape as Shape);
    if (tensor.type !== 'u8' || !sameShape(tensor.shape, bytes))
      throw new ParseError(
        `${label}: ${type} of shape ${formatShape(shape as Shape)} takes u8 ${formatShape(bytes)}, got ${tensor.type} ${formatShape(tensor.shape)}`,
      );
    tensors.set(name, { ...tensor, type, shape: shape as Shape });
  }
  return tensors;
}

function parsed(text: string): Readonly<Record<string, unknown>> {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    // Reported below.
  }
  if (isRecord(value)) return value;
  throw new ParseError(`safetensors: ${BLOCK_TYPES} must be a JSON object, got ${show(text)}`);
}

/** The types and extents of quantised tensors, as the metadata has them. */
export function blockMetadata(
  tensors: readonly { readonly name: string; readonly type: string; readonly shape: Shape }[],
): Record<string, string> {
  const blocks = tensors.filter(({ type }) => Object.hasOwn(BLOCKS, type));
  if (blocks.length === 0) return {};
  const said = blocks.map(({ name, type, shape }) => [name, { type: type as BlockType, shape }]);
  return { [BLOCK_TYPES]: JSON.stringify(Object.fromEntries(said)) };
}
