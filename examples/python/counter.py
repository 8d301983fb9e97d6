# app.py - YOUR APPLICATION CODE
def main():
    from watcher import watch
    
    # Wrap the counter variable with watch()
    # This tells Watcher to track ALL mutations to this variable
    counter = watch(0, name="counter")
    
    # Your actual application logic
    for i in range(10):
        counter = counter + 1  # Each increment is recorded as an event
    
    print(f"Final counter: {counter}")
    return counter


if __name__ == "__main__":
    main()
