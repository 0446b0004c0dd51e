"""The app that people had: Flask 2.0.1, SQLAlchemy 1.4.25, a global `scoped_session`, no teardown.

Its one view only reads. Each request runs in a thread of its own, so `scoped_session` makes a session and a
connection to SQLite for each, and nothing closes them when the thread ends. The garbage collector does,
later, in whichever thread it happens to run, and SQLite refuses: the connection was made in another one.
"""

import os

from flask import Flask, Response, jsonify
from sqlalchemy import Column, Integer, String, create_engine
from sqlalchemy.orm import declarative_base, scoped_session, sessionmaker

engine = create_engine(f"sqlite:///{os.environ['BENCH_DATA']}/app.db")
Session = scoped_session(sessionmaker(bind=engine))
Base = declarative_base()
app = Flask(__name__)


class Connection(Base):  # type: ignore[misc, valid-type]
    """An API the client knows."""

    __tablename__ = "connections"
    id = Column(Integer, primary_key=True)
    name = Column(String, nullable=False)


@app.get("/connections")
def connections() -> Response:
    """All of them."""
    return jsonify(items=[{"id": row.id, "name": row.name} for row in Session.query(Connection)])


if __name__ == "__main__":
    Base.metadata.create_all(engine)
    with Session() as first:
        first.add(Connection(name="bench"))
        first.commit()
    Session.remove()
    app.run("127.0.0.1", int(os.environ["BENCH_PORT"]), threaded=True)
