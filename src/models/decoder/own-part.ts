/** Layers that keep past tokens in caches of their own. */
import { ParameterError } from '../../errors';
import type { OwnCache } from '../../methods/continuation';

export class OwnPart {
  constructor(private readonly layers: readonly OwnCache[]) {}

  layer(index: number): OwnCache {
    return this.layers[index] as OwnCache;
  }

  /** Tokens of each row that all layers have. */
  get lengths(): number[] {
    const [first, ...others] = this.layers.map(({ lengths }) => lengths) as [
      readonly number[],
      ...(readonly number[])[],
    ];
    return first.map((length, row) => Math.min(length, ...others.map((lengths) => lengths[row] as number)));
  }

  get bytes(): number {
    return this.layers.reduce((sum, { bytes }) => sum + bytes, 0);
  }

  /** Those of `bytes` that are read only here and there. */
  get slowBytes(): number {
    return this.layers.reduce((sum, { slowBytes }) => sum + slowBytes, 0);
  }

  checkTruncation(wanted: readonly number[], nameOf: (layer: number) => string): void {
    for (const [at, layer] of this.layers.entries())
      for (const [row, length] of wanted.entries()) {
        const { [row]: most = 0 } = layer.lengths;
        if (length > most)
          throw new ParameterError(
            `lengths[${row}] must be at most ${most}, the tokens of ${nameOf(at)}, got ${length}`,
          );
        const reach = layer.reach?.(row);
        if (!reach || length === 0 || reach.some(([from, to]) => from <= length && length <= to)) continue;
        const known = reach.map(([from, to]) => (from < to ? `from ${from} to ${to}` : to));
        throw new ParameterError(
          `lengths[${row}] must be 0 or ${known.join(' or ')}, where ${nameOf(at)} keeps a state, got ${length}`,
        );
      }
  }

  truncate(lengths: readonly number[]): void {
    for (const layer of this.layers) layer.truncate(lengths);
  }

  fork(rows: readonly number[]): OwnPart {
    return new OwnPart(this.layers.map((layer) => layer.fork(rows)));
  }

  join(others: readonly OwnPart[]): OwnPart {
    return new OwnPart(this.layers.map((layer, at) => layer.join(others.map((other) => other.layer(at)))));
  }

  dispose(): void {
    for (const layer of this.layers) layer.dispose();
  }
}
