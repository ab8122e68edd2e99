from fastapi import FastAPI

service = FastAPI(title="service")


@service.get("/")
def index() -> dict[str, str]:
    return {"text": "hello from fastapi"}
