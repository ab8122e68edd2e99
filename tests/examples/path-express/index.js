const express = require("express");

const app = express();
app.get("/", (_request, response) => response.send("version 1"));

const port = process.env.PORT || 3000;
const server = app.listen(port, "0.0.0.0");
process.on("SIGTERM", () => server.close(() => process.exit(0)));
