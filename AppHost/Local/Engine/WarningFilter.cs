namespace Aspire.Hosting.Local;

/// <summary>
/// Finds the warnings and errors in the output of .NET's console logger. A message is a line with its level, then
/// indented lines:
/// <code>
/// warn: Broker.Replication[1001]
///       The leader is gone.
/// </code>
/// </summary>
internal sealed class WarningFilter
{
    private static readonly string[] Levels = ["warn: ", "fail: ", "crit: "];
    private bool _inMessage;

    public bool Passes(string line, bool isError)
    {
        if (isError)
        {
            return true;
        }

        _inMessage = line.StartsWith(' ')
            ? _inMessage
            : Array.Exists(Levels, level => line.StartsWith(level, StringComparison.Ordinal));
        return _inMessage;
    }
}
