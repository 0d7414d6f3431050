namespace Aspire.Hosting.Local;

/// <summary>What a process writes: all of it into a file, the last lines in memory, and to whoever listens.</summary>
internal sealed class OutputLog : IDisposable
{
    private readonly Lock _gate = new();
    private readonly Queue<string> _last = new();
    private readonly string _path;
    private StreamWriter? _file;

    public OutputLog(string path)
    {
        _path = path;
        _file = Open();
    }

    /// <summary>A line, and whether it came on the error stream.</summary>
    public event Action<string, bool>? LineAdded;

    public string LastLines
    {
        get
        {
            lock (_gate)
            {
                return string.Join('\n', _last);
            }
        }
    }

    public void Add(string? line, bool isError)
    {
        if (line is null)
        {
            return;
        }

        lock (_gate)
        {
            if (_last.Count == EngineLimits.LastLines)
            {
                _last.Dequeue();
            }

            _last.Enqueue(line);
            Write(line);
        }

        LineAdded?.Invoke(line, isError);
    }

    public void Dispose()
    {
        lock (_gate)
        {
            _file?.Dispose();
            _file = null;
        }
    }

    private StreamWriter Open() => new(_path, append: false) { AutoFlush = true };

    private void Write(string line)
    {
        if (_file is null)
        {
            return;
        }

        if (_file.BaseStream.Length > EngineLimits.LogFileBytes)
        {
            _file.Dispose();
            File.Move(_path, $"{_path}.1", overwrite: true);
            _file = Open();
        }

        _file.WriteLine(line);
    }
}
