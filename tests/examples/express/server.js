const express = require("express");

const app = express();
app.get("/", (_request, response) => response.send("hello from express"));
app.listen(process.env.PORT || 3000);
