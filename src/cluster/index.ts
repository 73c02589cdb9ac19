export {
  type AllReduceOptions,
  type AllToAllOptions,
  Communicator,
  type GatherOptions,
  type SendRecvOptions,
} from './communicator';
