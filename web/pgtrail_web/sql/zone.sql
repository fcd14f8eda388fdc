select set_config('TimeZone', %(zone)s, true)
