# db_app.py - YOUR APPLICATION CODE
def main():
    import sqlite3
    from watcher import watch
    
    # Track the database connection as a "variable"
    conn_state = watch({"queries": 0, "rows_affected": 0}, name="conn_state")
    
    conn = sqlite3.connect(":memory:")
    cursor = conn.cursor()
    
    # Your actual database operations
    conn_state["queries"] = 1
    cursor.execute("CREATE TABLE users (id INTEGER, name TEXT)")
    
    conn_state["queries"] = 2
    cursor.execute("INSERT INTO users VALUES (1, 'Alice')")
    conn_state["rows_affected"] = 1
    
    conn_state["queries"] = 3
    rows = cursor.fetchall()  # SQL context automatically captured
    
    conn.close()
    return conn_state


if __name__ == "__main__":
    main()
