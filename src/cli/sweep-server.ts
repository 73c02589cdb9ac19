/** The connection of a sweep's commands to their server. */
import { connect, type NatsConnection, type NodeConnectionOptions } from '@nats-io/transport-node';
import { show } from '../check';
import { ParameterError, SaccadeError, UnsupportedError } from '../errors';
import { BUILD } from '../sweep/build-id';
import { SweepQueue } from '../sweep/queue';
import { reasonOf } from '../text/reason';
import { checkFile } from './check-file';

/** What TLS says of a certificate that nobody known has signed. */
const UNKNOWN_CERTIFICATE = [
  'DEPTH_ZERO_SELF_SIGNED_CERT',
  'SELF_SIGNED_CERT_IN_CHAIN',
  'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
];
/** Milliseconds for the first connection. */
const PATIENCE = 5000;
const REMEDY = 'start one with saccade sweep serve, or give its address with --server or in NATS_URL';

export interface ServerOptions {
  readonly server: string;
  readonly sweep: string;
  /** A file of certificates that are trusted besides the known ones. */
  readonly tlsCa?: string | undefined;
}

/**
 * Does work with the queue of a sweep.
 *
 * @throws {UnsupportedError} no server, one that refuses, one without JetStream
 */
export async function withQueue<T>(
  { server, sweep, tlsCa }: ServerOptions,
  work: (queue: SweepQueue) => Promise<T>,
): Promise<T> {
  const connection = await open(server, tlsCa);
  try {
    return await work(await SweepQueue.open(connection, { sweep, build: BUILD }));
  } catch (error) {
    if (error instanceof SaccadeError || (error as Error).name === 'AbortError') throw error;
    throw new UnsupportedError(`the connection to the server at ${withoutSecret(server)} failed: ${reasonOf(error)}`);
  } finally {
    await connection.close();
  }
}

async function open(server: string, tlsCa: string | undefined): Promise<NatsConnection> {
  if (tlsCa !== undefined) checkFile('--tls-ca', tlsCa);
  try {
    return await connect({
      ...addressOf(server),
      ...(tlsCa !== undefined && { tls: { caFile: tlsCa } }),
      timeout: PATIENCE,
      // A server that was there comes back.
      maxReconnectAttempts: -1,
      reconnectTimeWait: 500,
    });
  } catch (error) {
    if (error instanceof SaccadeError) throw error;
    const { name, message, cause, code = '' } = error as NodeJS.ErrnoException;
    if (UNKNOWN_CERTIFICATE.includes(code))
      throw new UnsupportedError(
        `the certificate of the server at ${withoutSecret(server)} is not known here (${code}): give its file with --tls-ca`,
      );
    const reason = name === 'AuthorizationError' ? 'it refuses this client: the address needs its token' : message;
    const why = cause instanceof Error ? `${reason}, ${cause.message}` : reason;
    throw new UnsupportedError(`no NATS server to work with at ${withoutSecret(server)} (${why}): ${REMEDY}`);
  }
}

/** What is before the host is for the server alone: a token, as in nats://TOKEN@host:4222, or a name and a password. */
function addressOf(server: string): Pick<NodeConnectionOptions, 'servers' | 'token' | 'user' | 'pass'> {
  const text = server.includes('://') ? server : `nats://${server}`;
  const { protocol, host, username, password } = URL.canParse(text) ? new URL(text) : ({} as Partial<URL>);
  if (!host)
    throw new ParameterError(
      `--server must be an address such as nats://host:4222, got ${show(withoutSecret(server))}`,
    );
  const user = decodeURIComponent(username ?? '');
  const secret = password ? { user, pass: decodeURIComponent(password) } : { token: user };
  return { servers: `${protocol}//${host}`, ...(user !== '' && secret) };
}

const withoutSecret = (server: string) => server.replace(/\/\/[^/@]*@/, '//');
