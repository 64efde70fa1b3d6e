// Connects as a member, looks at the house, submits a trade, and reads an error:
//
//     node dist/example.js 127.0.0.1:7443 keys/clients/member/alpha members/alpha BUYER SELLER

import { timestampNow } from "@bufbuild/protobuf/wkt";

import { ClearingError, connect } from "./client.js";
import { EventService } from "./gen/clearinghouse/v1/event_service_pb.js";
import { HouseService } from "./gen/clearinghouse/v1/house_service_pb.js";
import { TradeService, TradeStatus } from "./gen/clearinghouse/v1/trade_service_pb.js";

const [address, keys, parent, buyer, seller] = process.argv.slice(2);
if (!address || !keys || !parent || !buyer || !seller) {
  console.error("usage: example.js HOST:PORT KEYS MEMBER BUYER SELLER");
  process.exit(2);
}

const house = connect(address, keys);
const { house: found, journalSize } = await house.call(HouseService.method.getHouse, {});
console.log(`house: ${found?.house}, ${found?.instruments.length} instruments, ${journalSize} entries`);

const trade = {
  tradeId: `ts-${Date.now()}`,
  instrument: "instruments/BTC-PERP",
  buyer,
  seller,
  size: "0.001",
  price: found?.instruments.find((one) => one.name === "instruments/BTC-PERP")?.markPrice ?? "",
  executeTime: timestampNow(),
};
const { results } = await house.call(TradeService.method.submitTrades, { parent, trades: [trade] });
for (const result of results) {
  console.log(`trade: ${result.trade} ${TradeStatus[result.status]} ${result.reason}`.trimEnd());
}

try {
  await house.call(TradeService.method.submitTrades, { parent, trades: [{ ...trade, size: "-1" }] });
} catch (error) {
  if (!(error instanceof ClearingError)) throw error;
  console.log(`refused: ${error.reason}: ${error.violations.map(({ field }) => field).join(", ")}`);
}

try {
  const events = house.stream(EventService.method.streamEvents, { afterSequence: journalSize - 1n });
  for await (const { message } of events) {
    if (message.case !== "event") continue;
    console.log(`event: ${message.value.sequence} ${message.value.kind}`);
    break;
  }
} catch (error) {
  if (!(error instanceof ClearingError)) throw error;
  console.log(`no events: ${error.code} ${error.message}`);
}
house.close();
