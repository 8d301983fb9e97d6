# app.py
def main():
    from watcher import watch
    
    # Your real application
    total = watch(0, name="total")
    processed = watch([], name="processed")
    
    for i in range(100):
        total = total + 1
        if i % 2 == 0:
            processed.append(i)
    
    return {"total": total}


if __name__ == "__main__":
    main()
