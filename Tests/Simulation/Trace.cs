using System.Globalization;

namespace Broker.Tests.Simulation;

/// <summary>
/// What happened, in words: printed as it happens, or kept as the last lines before a failure, or off.
/// </summary>
internal sealed class Trace(Scheduler scheduler, TextWriter? live, int keepLines)
{
    private readonly Queue<string> _last = new();

    public bool IsOn => live is not null || keepLines > 0;

    public IEnumerable<string> LastLines => _last;

    public void Write(string subject, string what)
    {
        var line = string.Create(
            CultureInfo.InvariantCulture, $"{scheduler.NowUs / 1000.0,11:F3} ms  {subject,-4} {what}");
        live?.WriteLine(line);
        if (keepLines > 0)
        {
            _last.Enqueue(line);
            if (_last.Count > keepLines)
            {
                _last.Dequeue();
            }
        }
    }
}
