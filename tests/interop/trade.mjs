// Trades through the official TypeScript SDK, line 1: what most hosts are built on.
// node trade.mjs NODE_MODULES stdio COMMAND HOME | NODE_MODULES /mcp URL TOKEN
// Prints the answers as JSON. The client checks each against the tool's output schema.
import { createRequire } from "node:module";

const [modules, way, target, key] = process.argv.slice(2);
const require = createRequire(`${modules}/`);
const { Client } = require("@modelcontextprotocol/sdk/client/index.js");

function transport() {
  if (way === "stdio") {
    const { StdioClientTransport } = require("@modelcontextprotocol/sdk/client/stdio.js");
    const env = { ...process.env, EXEC_MCP_HOME: key };
    return new StdioClientTransport({ command: target, args: ["stdio"], env });
  }
  const { StreamableHTTPClientTransport } = require("@modelcontextprotocol/sdk/client/streamableHttp.js");
  const headers = { Authorization: `Bearer ${key}` };
  return new StreamableHTTPClientTransport(new URL(target), { requestInit: { headers } });
}

const client = new Client({ name: "trade.mjs", version: "1" });
await client.connect(transport());
const { tools } = await client.listTools();
const call = (name, args) => client.callTool({ name, arguments: args });
const plan = await call("plan_trade", { symbol: "AAPL", side: "buy", quantity: "10" });
const { trade_id } = plan.structuredContent;
const confirmed = await call("execute_trade", { trade_id, action: "confirm" });
const again = await call("execute_trade", { trade_id, action: "confirm" });
const told = await call("get_trade", { trade_id });
const page = await client.readResource({ uri: "kb://mcp/plan_trade" });
await client.close();
console.log(JSON.stringify({ tools: tools.length, plan, confirmed, again, told, page }));
