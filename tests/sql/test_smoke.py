def test_x(nemo):
    c = nemo.connect()
    print(c.execute("select count(*) from audit.event").fetchall())
def test_y(db):
    db.connect("app")
