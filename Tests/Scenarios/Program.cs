using Broker.Tests.Scenarios;

// One scenario, or some of them, with all that happens: dotnet run --project Tests/Scenarios -- NAME...
// Without a name all of them are run as tests, and what happened is printed of those that fail.
if (args is ["--list"] or ["--help"])
{
    foreach (var (name, (title, _)) in Scenes.All)
    {
        Console.WriteLine($"{name,-32} {title}");
    }

    return 0;
}

if (args.FirstOrDefault(static name => !Scenes.All.ContainsKey(name)) is { } unknown)
{
    Console.Error.WriteLine($"There is no scenario '{unknown}'. They are: {string.Join(", ", Scenes.All.Keys)}.");
    return 2;
}

var failed = 0;
var names = args.Length > 0 ? args : [.. Scenes.All.Keys];
foreach (var name in names)
{
    await using var stage = new Stage(isLive: args.Length > 0);
    try
    {
        await Scenes.All[name].Play(stage);
        Console.WriteLine($"ok      {name}");
    }
    catch (Exception failure)
    {
        failed++;
        stage.Tell();
        Console.WriteLine($"FAILED  {name}: {failure.Message}");
    }
}

Console.WriteLine($"{names.Length - failed} passed, {failed} failed");
return failed == 0 ? 0 : 1;
