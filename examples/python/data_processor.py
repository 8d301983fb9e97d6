# data_processor.py - YOUR APPLICATION CODE
def main():
    from watcher import watch
    
    # Track a list
    records = watch([], name="records")
    
    # Track a dictionary
    state = watch({"status": "init", "count": 0}, name="state")
    
    # Your application logic modifies these
    records.append({"id": 1, "value": "data1"})  # Tracked
    records.append({"id": 2, "value": "data2"})  # Tracked
    
    state["status"] = "processing"  # Tracked
    state["count"] = 2              # Tracked
    state["timestamp"] = 1706000000 # Tracked
    
    return {"records": len(records), "state": state}


if __name__ == "__main__":
    main()
