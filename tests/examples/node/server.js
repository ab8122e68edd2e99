const fastify = require("fastify")();

fastify.get("/", async () => "hello from node");
fastify.listen({ port: Number(process.env.PORT), host: "0.0.0.0" });
