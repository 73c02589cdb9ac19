export {
  type AllReduceOptions,
  type AllToAllOptions,
  Communicator,
  type GatherOptions,
  type SendRecvOptions,
} from './communicator';
export { type ContextParallel, contextParallel, type DeltaRuleParallel, type LinearParallel } from './context-parallel';
export {
  asRank,
  type CommunicatorOptions,
  communicator,
  type RankOptions,
  type RankWork,
  type RunRanksOptions,
  runRanks,
} from './ranks';
export type { DeltaRuleOptions, ShardedLinearOptions, StatesParallelOptions } from './recurrent';
export type { ContextParallelOptions, Costs, Sharded, ShardedOptions } from './sharded-attention';
export type { Run, Shard } from './shards';
export { sumOver } from './sum-over';
