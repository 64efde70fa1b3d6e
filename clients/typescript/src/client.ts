// A typed client of a house: mutual TLS, request ids, retries as the house publishes them, errors with their reason.
//
//     const house = connect("127.0.0.1:7443", "keys/clients/member/alpha");
//     const { results } = await house.call(TradeService.method.submitTrades, { parent, trades });

import { randomUUID } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";

import {
  create,
  type DescMessage,
  type DescMethodServerStreaming,
  type DescMethodUnary,
  fromBinary,
  type MessageInitShape,
  type MessageShape,
  toBinary,
} from "@bufbuild/protobuf";
import { anyUnpack } from "@bufbuild/protobuf/wkt";
import { Client, credentials, Metadata, type ServiceError } from "@grpc/grpc-js";

import { BadRequestSchema, ErrorInfoSchema } from "./gen/google/rpc/error_details_pb.js";
import { StatusSchema } from "./gen/google/rpc/status_pb.js";

const DEADLINE_MS = 30_000;

/** As the house publishes it for every method: what changes something carries a request id, so nothing happens twice. */
const SERVICE_CONFIG = readFileSync(new URL("../src/gen/service_config.json", import.meta.url), "utf8");

/** A call that the house refused, or that did not reach it. */
export class ClearingError extends Error {
  constructor(
    readonly code: number,
    message: string,
    /** A stable upper-case word; empty when the house was not reached. */
    readonly reason: string,
    readonly violations: { field: string; description: string }[],
  ) {
    super(message);
  }
}

type Unary<I extends DescMessage, O extends DescMessage> = DescMethodUnary<I, O>;
type Streaming<I extends DescMessage, O extends DescMessage> = DescMethodServerStreaming<I, O>;

/** A connection to a house. Every method of the interface can be called: there is no code for each. */
export class House {
  constructor(private readonly client: Client) {}

  /** Call a method; a request id is made if the request wants one and has none. */
  call<I extends DescMessage, O extends DescMessage>(
    method: Unary<I, O>,
    request: MessageInitShape<I>,
  ): Promise<MessageShape<O>> {
    return new Promise((resolve, reject) => {
      this.client.makeUnaryRequest(
        pathOf(method),
        (message: MessageShape<I>) => Buffer.from(toBinary(method.input, message)),
        (bytes: Buffer) => fromBinary(method.output, bytes),
        identified(method.input, create(method.input, request)),
        new Metadata(),
        { deadline: Date.now() + DEADLINE_MS },
        (error, answer) => (error ? reject(errorOf(error)) : resolve(answer as MessageShape<O>)),
      );
    });
  }

  /** Open a stream, such as that of events; leaving the loop ends it. */
  async *stream<I extends DescMessage, O extends DescMessage>(
    method: Streaming<I, O>,
    request: MessageInitShape<I>,
  ): AsyncGenerator<MessageShape<O>> {
    const answers = this.client.makeServerStreamRequest(
      pathOf(method),
      (message: MessageShape<I>) => Buffer.from(toBinary(method.input, message)),
      (bytes: Buffer) => fromBinary(method.output, bytes),
      create(method.input, request),
    );
    try {
      for await (const answer of answers) yield answer as MessageShape<O>;
    } catch (error) {
      throw errorOf(error as ServiceError);
    } finally {
      answers.cancel();
    }
  }

  close(): void {
    this.client.close();
  }
}

/** The house at `address` (host:port), with ca.crt, client.crt and client.key of the folder `keys`. */
export function connect(address: string, keys: string): House {
  const read = (name: string) => readFileSync(join(keys, name));
  const tls = credentials.createSsl(read("ca.crt"), read("client.key"), read("client.crt"));
  return new House(new Client(address, tls, { "grpc.service_config": SERVICE_CONFIG }));
}

function pathOf(method: Unary<DescMessage, DescMessage> | Streaming<DescMessage, DescMessage>): string {
  return `/${method.parent.typeName}/${method.name}`;
}

function identified<I extends DescMessage>(schema: I, message: MessageShape<I>): MessageShape<I> {
  if (schema.field.requestId !== undefined) {
    const mutation = message as { requestId?: string };
    mutation.requestId ||= randomUUID();
  }
  return message;
}

function errorOf(error: ServiceError): ClearingError {
  const [packed] = error.metadata?.get("grpc-status-details-bin") ?? [];
  const details = packed instanceof Buffer ? fromBinary(StatusSchema, packed).details : [];
  const info = details.map((detail) => anyUnpack(detail, ErrorInfoSchema)).find((found) => found);
  const bad = details.map((detail) => anyUnpack(detail, BadRequestSchema)).find((found) => found);
  return new ClearingError(error.code, error.details, info?.reason ?? "", bad?.fieldViolations ?? []);
}
