/** Open MPI's library, called through koffi. */
import { UnsupportedError } from '../errors';
import { checkInstalled } from '../packages';
import { reasonOf } from '../text/reason';

/** Addresses and handles, which have at most 48 bits. */
export type Pointer = number;
export type Native = (...given: (Pointer | null)[]) => number;

/** What koffi does for us; its own types are of what it can do for others. */
export interface Koffi {
  load(path: string): { func(prototype: string): Native };
  address(value: unknown): bigint;
}

const LIBRARIES: Readonly<Record<string, string>> = { darwin: 'libmpi.40.dylib' };
const DEFAULT_LIBRARY = 'libmpi.so.40';

const PROTOTYPES = {
  initialized: 'int MPI_Initialized(void *flag)',
  init: 'int MPI_Init_thread(void *argc, void *argv, int required, void *provided)',
  communicator: 'void *MPI_Comm_f2c(int number)',
  type: 'void *MPI_Type_f2c(int number)',
  handler: 'void *MPI_Errhandler_f2c(int number)',
  setHandler: 'int MPI_Comm_set_errhandler(void *comm, void *handler)',
  rank: 'int MPI_Comm_rank(void *comm, void *rank)',
  size: 'int MPI_Comm_size(void *comm, void *size)',
  send: 'int MPI_Isend(void *bytes, int count, void *type, int peer, int tag, void *comm, void *request)',
  receive: 'int MPI_Irecv(void *bytes, int count, void *type, int peer, int tag, void *comm, void *request)',
  test: 'int MPI_Test(void *request, void *flag, void *status)',
  testSome: 'int MPI_Testsome(int count, void *requests, void *through, void *places, void *statuses)',
  cancel: 'int MPI_Cancel(void *request)',
  free: 'int MPI_Request_free(void *request)',
  text: 'int MPI_Error_string(int code, void *text, void *length)',
  finalize: 'int MPI_Finalize()',
  yield: 'int sched_yield()',
} as const;

export type Library = Readonly<Record<keyof typeof PROTOTYPES, Native>>;

/** Numbers that MPI writes, in memory that stays where it is. */
export const memory = (bytes: number) => new ArrayBuffer(bytes);

/** Opens the library, which must be Open MPI. @throws {UnsupportedError} one thing that is missing, or another MPI */
export async function openLibrary(path = process.env.SACCADE_MPI_LIBRARY): Promise<{ koffi: Koffi; library: Library }> {
  checkInstalled({ koffi: 'MPI' });
  const name = path ?? LIBRARIES[process.platform] ?? DEFAULT_LIBRARY;
  // Bundlers of pages should not look for it.
  const companion: string = 'koffi';
  const { default: koffi }: { default: Koffi } = await import(/* webpackIgnore: true */ /* @vite-ignore */ companion);
  let opened: ReturnType<Koffi['load']>;
  try {
    opened = koffi.load(name);
  } catch (error) {
    throw new UnsupportedError(
      `Open MPI's library ${name} cannot be opened: install Open MPI (Debian: apt install openmpi-bin libopenmpi-dev), or name the library in SACCADE_MPI_LIBRARY (${reasonOf(error)})`,
    );
  }
  checkIsOpenMpi(koffi, opened, name);
  const functions = Object.entries(PROTOTYPES).map(([key, prototype]) => [key, opened.func(prototype)]);
  return { koffi, library: Object.fromEntries(functions) };
}

function checkIsOpenMpi(koffi: Koffi, opened: ReturnType<Koffi['load']>, name: string): void {
  const [text, length] = [new Uint8Array(memory(8192)), new Int32Array(memory(8))];
  const at = (value: unknown) => Number(koffi.address(value));
  try {
    opened.func('int MPI_Get_library_version(void *text, void *length)')(at(text), at(length));
  } catch {
    throw new UnsupportedError(`${name} is no MPI library: it has no MPI_Get_library_version`);
  }
  const [version] = new TextDecoder().decode(text.subarray(0, length[0])).split('\0')[0]?.split('\n') ?? [];
  if (!version?.startsWith('Open MPI'))
    throw new UnsupportedError(
      `${name} is '${version}', whose handles are numbers where Open MPI's are addresses: use Open MPI, and its mpirun`,
    );
}
