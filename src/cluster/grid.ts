/** How a mechanism groups ranks: those that divide heads, those that divide tokens, and the circles of these. */
import { ParameterError } from '../errors';
import { layoutOf, type Mechanism, refusalOf } from '../simulate/context-parallel';
import type { Ring } from './circulate';
import type { Communicator } from './communicator';

export interface Grid {
  /** The place of this rank among those that divide heads, and among those that divide tokens. */
  readonly headsPlace: number;
  readonly tokensPlace: number;
  /** The ranks that divide heads, in ascending order, for each place that divides tokens. */
  readonly ranks: readonly (readonly number[])[];
  /** Ranks that divide tokens, as circles: an outer one of inner ones. */
  readonly rings: readonly Ring[];
}

interface Heads {
  readonly heads: number;
  readonly keyHeads: number;
}

/** @throws {ParameterError} heads that a mechanism cannot divide among the ranks */
export function gridOf(mechanism: Mechanism, communicator: Communicator, heads: Heads): Grid {
  const { size: devices, rank } = communicator;
  const { ulysses, ring, ulyssesStride, ringStride, window } = layoutOf(mechanism, { devices, ...heads });
  checkDivides(refusalOf(ulysses, heads), mechanism);
  const headsPlace = Math.floor(rank / ulyssesStride) % ulysses;
  const tokensPlace = Math.floor(rank / ringStride) % ring;
  const rankAt = (heads: number, tokens: number) => heads * ulyssesStride + tokens * ringStride;
  const listOf = <T>(length: number, at: (place: number) => T) => Array.from({ length }, (_, place) => at(place));
  const [outer, inner] = [Math.floor(tokensPlace / window), tokensPlace % window];
  const circles = [
    listOf(ring / window, (place) => rankAt(headsPlace, place * window + inner)),
    listOf(window, (place) => rankAt(headsPlace, outer * window + place)),
  ];
  return {
    headsPlace,
    tokensPlace,
    ranks: listOf(ring, (tokens) => listOf(ulysses, (heads) => rankAt(heads, tokens))),
    rings: circles.filter(({ length }) => length > 1).map((members) => circleOf(communicator, members)),
  };
}

function circleOf(communicator: Communicator, members: readonly number[]): Ring {
  const size = members.length;
  const place = members.indexOf(communicator.rank);
  const [next, previous] = [members[(place + 1) % size], members[(place + size - 1) % size]];
  return {
    size,
    place,
    shift: (x, tokens) => {
      const shape = x.shape.map((extent, axis) => (axis === 1 ? tokens : extent));
      return communicator.sendRecv(x, next, previous, { shape });
    },
  };
}

/** Throws if there is a reason why heads cannot be divided among ranks. */
export function checkDivides(refused: string | undefined, mechanism: Mechanism): void {
  if (refused !== undefined)
    throw new ParameterError(`mechanism '${mechanism}' cannot divide heads: ${refused.replace('devices', 'ranks')}`);
}
