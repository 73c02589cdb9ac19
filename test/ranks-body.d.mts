import type { Communicator } from '../src/cluster/index';

export function checkRanks(communicator: Communicator, library: unknown): Promise<Record<string, number>>;
