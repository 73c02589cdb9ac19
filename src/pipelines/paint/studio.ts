/** The networks that paint: those that come along, or trained ones. */

import { show } from '../../check';
import { ParameterError } from '../../errors';
import { assetFiles } from '../../io/asset';
import { Runtime } from '../../runtime/runtime';
import type { HostTensor } from '../../tensor/host';
import { disposeKey } from '../../tensor/tensor';
import type { Weights } from '../layers';
import { GARMENTS } from './garments';

export const NETWORKS = ['codec', 'judge', 'painter'] as const;
export type NetworkName = (typeof NETWORKS)[number];

type Tensors = Readonly<Record<string, HostTensor<'f32'>>>;

/** The networks that paint, on a runtime, and the words of the classes that they know. */
export class Studio implements Readonly<Record<NetworkName, Weights>> {
  constructor(
    readonly runtime: Runtime,
    readonly words: readonly string[],
    readonly codec: Weights,
    readonly judge: Weights,
    readonly painter: Weights,
  ) {}

  /** Networks from their weights. */
  static of(runtime: Runtime, words: readonly string[], tensors: Readonly<Record<NetworkName, Tensors>>): Studio {
    const onRuntime = (all: Tensors): Weights =>
      Object.fromEntries(Object.entries(all).map(([name, host]) => [name, runtime.fromHost(host)]));
    return new Studio(runtime, words, onRuntime(tensors.codec), onRuntime(tensors.judge), onRuntime(tensors.painter));
  }

  /** Frees the networks. */
  dispose(): void {
    for (const network of [this.codec, this.judge, this.painter])
      for (const each of Object.values(network)) each.dispose();
  }

  [disposeKey](): void {
    this.dispose();
  }
}

const PLACES: Readonly<Record<NetworkName, () => URL>> = {
  codec: () => new URL('./trained/codec.safetensors', import.meta.url),
  judge: () => new URL('./trained/judge.safetensors', import.meta.url),
  painter: () => new URL('./trained/painter.safetensors', import.meta.url),
};

/**
 * The networks that come along, in 8 bits, which know drawn garments; a page fetches them when this is called.
 *
 * @throws {ParameterError} no runtime, files that cannot be had
 */
export async function openStudio(runtime: Runtime): Promise<Studio> {
  if (!(runtime instanceof Runtime)) throw new ParameterError(`runtime must be a Runtime, got ${show(runtime)}`);
  const { openWeights } = await import('../../weights/open');
  const tensors: Partial<Record<NetworkName, Tensors>> = {};
  for (const name of NETWORKS) {
    const files = await assetFiles(`the trained ${name}`, { 'model.safetensors': PLACES[name] });
    await using weights = await openWeights(files);
    tensors[name] = await readAll(weights);
  }
  return Studio.of(runtime, GARMENTS, tensors as Record<NetworkName, Tensors>);
}

interface Source {
  readonly tensors: { keys(): Iterable<string> };
  read(name: string, options: { dtype: 'f32' }): Promise<HostTensor<'f32'>>;
}

/** All tensors of a file, as f32. */
export async function readAll(weights: Source): Promise<Record<string, HostTensor<'f32'>>> {
  const tensors: Record<string, HostTensor<'f32'>> = {};
  for (const name of weights.tensors.keys()) tensors[name] = await weights.read(name, { dtype: 'f32' });
  return tensors;
}
